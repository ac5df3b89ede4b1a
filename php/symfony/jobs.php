<?php
// Runs Symfony's jobs in the pool's worker mode.
exit("not yet\n");
