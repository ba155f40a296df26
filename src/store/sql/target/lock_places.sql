-- Replicas that start at once come to one answer.
LOCK TABLE target_place IN EXCLUSIVE MODE
