-- A device whose journal contradicts what is stored: nothing more of it is stored until an operator has decided.
--
-- quarantine_epoch: the journal that caused it, which need not be the stored one.
-- accepted_epoch: the one further journal that an operator allows this device to begin; used up when it begins.
ALTER TABLE devices
    ADD COLUMN quarantined_at timestamptz,
    ADD COLUMN quarantine_reason text
        CHECK (quarantine_reason IN ('CHAIN_BROKEN', 'EPOCH_CLOSED', 'EPOCH_UNEXPECTED')),
    ADD COLUMN quarantine_epoch bytea CHECK (length(quarantine_epoch) = 8),
    ADD COLUMN accepted_epoch bytea CHECK (length(accepted_epoch) = 8),
    ADD CONSTRAINT quarantine_complete CHECK (
        (quarantined_at IS NULL) = (quarantine_reason IS NULL) AND (quarantined_at IS NULL) = (quarantine_epoch IS NULL)
    );
CREATE INDEX devices_quarantined ON devices (tenant_id, id) WHERE quarantined_at IS NOT NULL;
