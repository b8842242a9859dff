SELECT content FROM updraft.source WHERE fileloc = $1
