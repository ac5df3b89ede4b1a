<?php

require_once dirname(__DIR__) . '/wp-load.php';

header('Content-Type: application/json');
echo json_encode(can_perform_loopback());
