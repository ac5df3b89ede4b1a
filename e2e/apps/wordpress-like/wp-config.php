<?php

/* Run by PHP it prints nothing; served as text it would give everything away. */

define('DB_NAME', 'wordpress');
define('DB_USER', 'wordpress');
define('DB_PASSWORD', 'must-never-be-served');
define('DB_HOST', 'db');
define('AUTH_KEY', 'must-never-be-served-either');
$table_prefix = 'wp_';
