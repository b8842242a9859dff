-- Waits for whoever still writes to the lane.
SELECT epoch, sequence, verdicts FROM updraft.lane WHERE scheduler = $1 AND lane = $2 FOR UPDATE
