-- Where each target keeps tenants' things, by the settings that decide it. A configuration that says another place would
-- have tenants' states enforced where nothing of them is. A program of the version before does not look.
CREATE TABLE target_place (
    target text PRIMARY KEY,
    place text NOT NULL
);
