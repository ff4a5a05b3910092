-- Users and access rules, as the queries of etc/plugins/auth_pgsql.conf want them.
--
--     psql -d mqtt -f etc/sql/pgsql_tables.sql

CREATE TABLE mqtt_user (
    id serial PRIMARY KEY,
    is_superuser boolean,
    username varchar(100),
    password varchar(100),
    salt varchar(40)
);

CREATE UNIQUE INDEX mqtt_user_username ON mqtt_user (username);

-- allow: 1 allows, 0 denies. access: 1 subscribe, 2 publish, 3 both.
-- Of ipaddr, username and clientid those that are set have to fit together; the username '$all'
-- means everybody. In topic, '%u' and '%c' stand for a whole level; 'eq #' means this very filter.
CREATE TABLE mqtt_acl (
    id serial PRIMARY KEY,
    allow integer,
    ipaddr varchar(60),
    username varchar(100),
    clientid varchar(100),
    access integer,
    topic varchar(100)
);

CREATE INDEX mqtt_acl_username ON mqtt_acl (username);
CREATE INDEX mqtt_acl_clientid ON mqtt_acl (clientid);
CREATE INDEX mqtt_acl_ipaddr ON mqtt_acl (ipaddr);
