-- Access rules to begin with. The first rule that fits decides, in the order of the ids.

INSERT INTO mqtt_acl (allow, ipaddr, username, clientid, access, topic) VALUES
    -- From this machine everything may be published.
    (1, '127.0.0.1', NULL, NULL, 2, '#'),
    -- The dashboard sees what the broker tells of itself, nobody else does.
    (1, NULL, 'dashboard', NULL, 1, '$SYS/#'),
    (0, NULL, '$all', NULL, 1, '$SYS/#'),
    -- Nobody subscribes to everything.
    (0, NULL, '$all', NULL, 1, 'eq #'),
    -- The rest is open.
    (1, NULL, '$all', NULL, 3, '#');
