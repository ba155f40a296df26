UPDATE background_work SET progress = $3 WHERE work = $1 AND owner = $2
