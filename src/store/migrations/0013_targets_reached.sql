-- Every target that an operation reached: a replica that lacks one must know, however long ago that was. Those of tenants that
-- were purged since are nobody's. Which of them a tenant is in, its own operations say.
CREATE TABLE target_reached (
    target text PRIMARY KEY
);
INSERT INTO target_reached
SELECT DISTINCT s.target
FROM operation_step s JOIN operation o USING (operation_id) JOIN tenant t ON t.uid = o.tenant_uid;
