-- What an order of a mode says: how the door is to rest, and for how many seconds; null where nothing is said of it.
ALTER TABLE commands ADD COLUMN mode smallint;
ALTER TABLE commands ADD COLUMN hold_s integer;
