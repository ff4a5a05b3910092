-- Tells ringmq of every change in mqtt_user and mqtt_acl, so that it acts within a second.
--
--     psql -d mqtt -f etc/sql/pgsql_notify.sql
--
-- May be run again, by the role that owns both tables; PostgreSQL 10 or newer. A notification says
-- what changed, in JSON, on the channel "ringmq":
--     {"t": "new", "r": [names of new users]}
--     {"t": "user", "k": [names whose password is another or gone], "r": [names to look at again]}
--     {"t": "acl", "u": [user names], "c": [client ids], "a": [addresses]}
--     {"t": "user", "all": true}      as above, and too many to name

CREATE OR REPLACE FUNCTION ringmq_tell(what text, VARIADIC lists text[]) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    message text := '{"t": ' || to_json(what);
BEGIN
    FOR i IN 1 .. array_length(lists, 1) / 2 LOOP
        message := message || ', ' || to_json(lists[2 * i - 1]) || ': ' || lists[2 * i];
    END LOOP;
    message := message || '}';
    -- A notification holds 8,000 bytes.
    IF octet_length(message) > 7900 THEN
        message := '{"t": ' || to_json(what) || ', "all": true}';
    END IF;
    PERFORM pg_notify('ringmq', message);
END
$$;

CREATE OR REPLACE FUNCTION ringmq_user_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    what text := 'user';
    kick json;
    recheck json;
    touched bigint := 0;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM ringmq_tell(what, 'all', 'true');
        RETURN NULL;
    END IF;
    IF TG_OP = 'INSERT' THEN
        what := 'new';
    END IF;
    IF TG_OP = 'DELETE' THEN
        SELECT json_agg(username), count(*) INTO kick, touched
            FROM (SELECT username FROM old_rows LIMIT 1001) gone;
    ELSE
        SELECT json_agg(username), count(*) INTO recheck, touched
            FROM (SELECT username FROM new_rows LIMIT 1001) now;
    END IF;
    -- Of more nobody asks which: to compare a whole table with itself takes its time, and ringmq
    -- knows by itself whose password is another.
    IF TG_OP = 'UPDATE' AND touched <= 1000 THEN
        SELECT json_agg(username) INTO kick FROM (
            SELECT o.username FROM old_rows o JOIN new_rows n USING (id)
            WHERE (o.username, o.password, o.salt)
                IS DISTINCT FROM (n.username, n.password, n.salt)
            LIMIT 1001) other;
    END IF;
    IF touched > 1000 THEN
        PERFORM ringmq_tell(what, 'all', 'true');
    ELSIF touched > 0 THEN
        PERFORM ringmq_tell(what, 'k', coalesce(kick, '[]')::text,
            'r', coalesce(recheck, '[]')::text);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION ringmq_acl_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    olds text := 'SELECT username, clientid, ipaddr FROM old_rows';
    news text := 'SELECT username, clientid, ipaddr FROM new_rows';
    touched bigint := 1001;
    for_all boolean := false;
    users json;
    clients json;
    addresses json;
BEGIN
    IF TG_OP <> 'TRUNCATE' THEN
        EXECUTE format($q$
            SELECT count(*), json_agg(DISTINCT username) FILTER (WHERE username <> ''),
                json_agg(DISTINCT clientid) FILTER (WHERE clientid <> ''),
                json_agg(DISTINCT ipaddr) FILTER (WHERE ipaddr <> ''),
                bool_or(concat(username, clientid, ipaddr) = '')
            FROM (%s LIMIT 1001) rows$q$,
            CASE TG_OP WHEN 'INSERT' THEN news WHEN 'DELETE' THEN olds
                ELSE olds || ' UNION ALL ' || news END)
            INTO touched, users, clients, addresses, for_all;
    END IF;
    -- A rule without any name is for everybody.
    IF touched > 1000 OR for_all THEN
        PERFORM ringmq_tell('acl', 'all', 'true');
    ELSIF touched > 0 THEN
        PERFORM ringmq_tell('acl', 'u', coalesce(users, '[]')::text,
            'c', coalesce(clients, '[]')::text, 'a', coalesce(addresses, '[]')::text);
    END IF;
    RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS ringmq_user_insert ON mqtt_user;
CREATE TRIGGER ringmq_user_insert AFTER INSERT ON mqtt_user
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE PROCEDURE ringmq_user_changed();
DROP TRIGGER IF EXISTS ringmq_user_update ON mqtt_user;
CREATE TRIGGER ringmq_user_update AFTER UPDATE ON mqtt_user
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE PROCEDURE ringmq_user_changed();
DROP TRIGGER IF EXISTS ringmq_user_delete ON mqtt_user;
CREATE TRIGGER ringmq_user_delete AFTER DELETE ON mqtt_user
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE PROCEDURE ringmq_user_changed();
DROP TRIGGER IF EXISTS ringmq_user_truncate ON mqtt_user;
CREATE TRIGGER ringmq_user_truncate AFTER TRUNCATE ON mqtt_user
    FOR EACH STATEMENT EXECUTE PROCEDURE ringmq_user_changed();

DROP TRIGGER IF EXISTS ringmq_acl_insert ON mqtt_acl;
CREATE TRIGGER ringmq_acl_insert AFTER INSERT ON mqtt_acl
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE PROCEDURE ringmq_acl_changed();
DROP TRIGGER IF EXISTS ringmq_acl_update ON mqtt_acl;
CREATE TRIGGER ringmq_acl_update AFTER UPDATE ON mqtt_acl
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE PROCEDURE ringmq_acl_changed();
DROP TRIGGER IF EXISTS ringmq_acl_delete ON mqtt_acl;
CREATE TRIGGER ringmq_acl_delete AFTER DELETE ON mqtt_acl
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE PROCEDURE ringmq_acl_changed();
DROP TRIGGER IF EXISTS ringmq_acl_truncate ON mqtt_acl;
CREATE TRIGGER ringmq_acl_truncate AFTER TRUNCATE ON mqtt_acl
    FOR EACH STATEMENT EXECUTE PROCEDURE ringmq_acl_changed();
