<?php

/* The theme: says what the front controller was asked for. */

if (!defined('ABSPATH')) {
    http_response_code(403);
    exit;
}

$path = rawurldecode((string) parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH));
$known = ['/' => 'Home', '/2026/11/hello-world/' => 'Hello world', '/caf%C3%A9/' => 'Café', '/café/' => 'Café'];
if ($path !== '/' && !str_ends_with($path, '/') && isset($known["$path/"])) {
    header('Location: ' . site_url("$path/"), true, 301);

    return;
}
if (!isset($known[$path])) {
    http_response_code(404);
}
?>
<!doctype html>
<title><?= htmlspecialchars($known[$path] ?? 'Not found') ?></title>
<link rel="stylesheet" href="/wp-content/themes/quiet/style.css">
<h1><?= htmlspecialchars($known[$path] ?? 'Not found') ?></h1>
<p>path <code><?= htmlspecialchars($path) ?></code>, server <code><?= server_kind() ?></code>, script <code><?= htmlspecialchars($_SERVER['SCRIPT_NAME']) ?></code></p>
