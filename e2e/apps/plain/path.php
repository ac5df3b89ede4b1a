<?php

/* A script with something behind its name: /path.php/a/b has PATH_INFO /a/b. */

header('Content-Type: application/json');
echo json_encode([
    'SCRIPT_NAME' => $_SERVER['SCRIPT_NAME'] ?? null,
    'PATH_INFO' => $_SERVER['PATH_INFO'] ?? null,
    'PHP_SELF' => $_SERVER['PHP_SELF'] ?? null,
    'PATH_TRANSLATED' => $_SERVER['PATH_TRANSLATED'] ?? null,
], JSON_UNESCAPED_SLASHES);
