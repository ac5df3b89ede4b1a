<?php

if (!isset($wp_did_header)) {
    $wp_did_header = true;
    require_once __DIR__ . '/wp-load.php';
    spawn_cron();
    require __DIR__ . '/wp-content/themes/quiet/index.php';
}
