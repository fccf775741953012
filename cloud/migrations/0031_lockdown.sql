-- Whether a door is locked down, besides what its policy says. It reaches the door as a version of its policy.
ALTER TABLE doors ADD COLUMN locked_down boolean NOT NULL DEFAULT false;
-- Whether a version was signed as locked down; the document keeps the mode that the policy orders otherwise.
ALTER TABLE policies ADD COLUMN locked_down boolean NOT NULL DEFAULT false;
