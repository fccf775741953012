"""The one exception of the cloud, its reasons, and the HTTP status that belongs to each.

Invariant: whoever handles a fault matches on `Reason`, never on text.
Must not: carry secrets, names or card numbers in `detail`; it is shown to callers and logged.
"""

from enum import Enum, unique


@unique
class Reason(Enum):
    """Why the cloud refused or failed. The value is (name on the wire, HTTP status)."""

    # What a caller did
    BODY_UNREADABLE = ("BODY_UNREADABLE", 400)
    BODY_TOO_LARGE = ("BODY_TOO_LARGE", 413)
    BODY_TOO_SLOW = ("BODY_TOO_SLOW", 408)
    TOKEN_REQUIRED = ("TOKEN_REQUIRED", 401)
    TOKEN_UNKNOWN = ("TOKEN_UNKNOWN", 401)
    TOKEN_EXPIRED = ("TOKEN_EXPIRED", 401)
    TOO_MANY_ATTEMPTS = ("TOO_MANY_ATTEMPTS", 429)
    INSTITUTION_UNKNOWN = ("INSTITUTION_UNKNOWN", 404)
    INSTITUTION_EXISTS = ("INSTITUTION_EXISTS", 409)
    TIME_ZONE_UNKNOWN = ("TIME_ZONE_UNKNOWN", 422)
    DOOR_UNKNOWN = ("DOOR_UNKNOWN", 404)
    DOOR_EXISTS = ("DOOR_EXISTS", 409)
    DEVICE_UNKNOWN = ("DEVICE_UNKNOWN", 404)
    BACKUP_UNKNOWN = ("BACKUP_UNKNOWN", 404)
    # Issuing, policies, passes and rosters
    ROOT_OFFLINE = ("ROOT_OFFLINE", 409)
    KEY_UNUSABLE = ("KEY_UNUSABLE", 503)
    TRUST_FULL = ("TRUST_FULL", 409)
    POLICY_INVALID = ("POLICY_INVALID", 422)
    POLICY_LOCKS_OUT = ("POLICY_LOCKS_OUT", 409)
    POLICY_UNKNOWN = ("POLICY_UNKNOWN", 404)
    STATUS_LIST_UNKNOWN = ("STATUS_LIST_UNKNOWN", 404)
    COMMAND_INVALID = ("COMMAND_INVALID", 422)
    COMMAND_CONFLICT = ("COMMAND_CONFLICT", 409)
    COMMAND_UNKNOWN = ("COMMAND_UNKNOWN", 404)
    PASS_INVALID = ("PASS_INVALID", 422)
    PASS_UNKNOWN = ("PASS_UNKNOWN", 404)
    SITE_UNKNOWN = ("SITE_UNKNOWN", 404)
    CREDENTIALS_INVALID = ("CREDENTIALS_INVALID", 422)
    ROSTER_UNKNOWN = ("ROSTER_UNKNOWN", 404)
    ROSTER_FULL = ("ROSTER_FULL", 409)
    # Events
    BATCH_INVALID = ("BATCH_INVALID", 422)
    BATCH_SIGNATURE_INVALID = ("BATCH_SIGNATURE_INVALID", 403)
    BATCH_FOREIGN = ("BATCH_FOREIGN", 403)
    SEQUENCE_GAP = ("SEQUENCE_GAP", 409)
    CHAIN_BROKEN = ("CHAIN_BROKEN", 409)
    EPOCH_CLOSED = ("EPOCH_CLOSED", 409)
    EPOCH_UNEXPECTED = ("EPOCH_UNEXPECTED", 409)
    EPOCH_STORED = ("EPOCH_STORED", 409)
    DEVICE_QUARANTINED = ("DEVICE_QUARANTINED", 409)
    DEVICE_NOT_QUARANTINED = ("DEVICE_NOT_QUARANTINED", 409)
    INGEST_BUSY = ("INGEST_BUSY", 503)
    HEALTH_INVALID = ("HEALTH_INVALID", 422)
    QUERY_INVALID = ("QUERY_INVALID", 422)
    # Device identity
    CLAIM_REQUIRED = ("CLAIM_REQUIRED", 401)
    CLAIM_UNKNOWN = ("CLAIM_UNKNOWN", 401)
    CLAIM_USED = ("CLAIM_USED", 401)
    CLAIM_EXPIRED = ("CLAIM_EXPIRED", 401)
    REQUEST_UNREADABLE = ("REQUEST_UNREADABLE", 400)
    REQUEST_SIGNATURE_INVALID = ("REQUEST_SIGNATURE_INVALID", 400)
    REQUEST_KEY_UNSUPPORTED = ("REQUEST_KEY_UNSUPPORTED", 400)
    DEVICE_CERTIFICATE_REQUIRED = ("DEVICE_CERTIFICATE_REQUIRED", 401)
    DEVICE_CERTIFICATE_UNKNOWN = ("DEVICE_CERTIFICATE_UNKNOWN", 403)
    DEVICE_REVOKED = ("DEVICE_REVOKED", 403)
    # What this service cannot do now
    DATABASE_UNAVAILABLE = ("DATABASE_UNAVAILABLE", 503)
    SERVICE_BUSY = ("SERVICE_BUSY", 503)
    INTERNAL = ("INTERNAL", 500)
    # What stops it from starting
    BROKER_MISSING = ("BROKER_MISSING", 503)
    BROKER_FAILED = ("BROKER_FAILED", 503)
    POSTGRES_MISSING = ("POSTGRES_MISSING", 503)
    POSTGRES_FAILED = ("POSTGRES_FAILED", 503)
    CLUSTER_FOREIGN = ("CLUSTER_FOREIGN", 503)
    CLUSTER_UNREACHABLE = ("CLUSTER_UNREACHABLE", 503)
    STATE_IN_USE = ("STATE_IN_USE", 503)
    STATE_UNUSABLE = ("STATE_UNUSABLE", 503)
    NO_SPACE = ("NO_SPACE", 503)
    PORT_IN_USE = ("PORT_IN_USE", 503)
    SETTING_INVALID = ("SETTING_INVALID", 503)
    SCHEMA_TOO_NEW = ("SCHEMA_TOO_NEW", 503)
    SCHEMA_CHANGED = ("SCHEMA_CHANGED", 503)
    DATABASE_NOT_DURABLE = ("DATABASE_NOT_DURABLE", 503)
    # What stops a backup or a restoration
    BACKUP_FAILED = ("BACKUP_FAILED", 503)
    BACKUP_MISSING = ("BACKUP_MISSING", 503)
    BACKUP_DAMAGED = ("BACKUP_DAMAGED", 503)

    @property
    def status(self) -> int:
        """The HTTP status that answers with this reason."""
        return self.value[1]


class CloudError(Exception):
    """The cloud refuses or cannot do something.

    Args:
        reason: for code; its name is the `reason` of the problem document.
        what: one sentence for people; it says what to do next, unless `remedy` does.
        remedy: what to do next, where a command tells it apart.
        retry_after_s: seconds after which the same request may succeed, None when that is not known.

    Attributes:
        detail: both.
    """

    def __init__(self, reason: Reason, what: str, *, remedy: str = "", retry_after_s: int | None = None) -> None:
        self.detail = f"{what} {remedy}" if remedy else what
        super().__init__(self.detail)
        self.reason = reason
        self.what = what
        self.remedy = remedy
        self.retry_after_s = retry_after_s
