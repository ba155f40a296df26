-- Writes a tenant's state unless a newer generation is there already; answers the state and generation that are there
-- now. Where that is no number, nothing is written. `applied` says the same as `state`, so that what somebody wrote there by hand is told from what we wrote.
-- KEYS[1]: the record. ARGV: state, generation, tenant id, seconds after which the record goes (0: never).
local applied = tonumber(redis.call('HGET', KEYS[1], 'generation') or '0')
if applied and applied <= tonumber(ARGV[2]) then
    redis.call('HSET', KEYS[1], 'state', ARGV[1], 'applied', ARGV[1], 'generation', ARGV[2], 'tenant', ARGV[3])
    if ARGV[4] == '0' then
        redis.call('PERSIST', KEYS[1])
    else
        redis.call('EXPIRE', KEYS[1], ARGV[4])
    end
end
return redis.call('HMGET', KEYS[1], 'state', 'generation')
