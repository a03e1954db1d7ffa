-- What the gate and the pages need to know of a credential, and indexes for the sweeps.

-- The digest of the row: 'made', 'sha256' or 'hmac'. NULL in rows of earlier releases: any.
ALTER TABLE credentials ADD COLUMN method TEXT;
-- 'owner' or 'operator', while the credential is disabled.
ALTER TABLE credentials ADD COLUMN disabled_by TEXT;

-- The lines about an application.
CREATE INDEX audit_application ON audit (application, number) WHERE application IS NOT NULL;

CREATE INDEX credentials_ended ON credentials (ended) WHERE ended IS NOT NULL;
CREATE INDEX consents_ended ON consents (ended) WHERE ended IS NOT NULL;
CREATE INDEX people_ended ON people (ended) WHERE ended IS NOT NULL;
