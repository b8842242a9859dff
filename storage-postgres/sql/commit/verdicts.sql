UPDATE updraft.lane SET verdicts = $3 WHERE scheduler = $1 AND lane = $2
