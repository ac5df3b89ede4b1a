<?php

define('ABSPATH', __DIR__ . '/');

if (!is_file(ABSPATH . 'wp-config.php')) {
    http_response_code(500);
    exit('wp-config.php is missing.');
}
require_once ABSPATH . 'wp-config.php';
require_once ABSPATH . 'wp-includes/functions.php';
