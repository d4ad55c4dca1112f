-- Offline messages are removed by their stanza id: it is known before the message is stored.
CREATE INDEX offline_by_sid ON offline (account, sid);
