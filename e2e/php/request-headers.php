<?php // Headers of the request and of the response.
require_once __DIR__ . '/executor.php';
$before = count(getallheaders());
behave(function () use ($before) {
    header('X-Sent: yes');
    $all = getallheaders();
    echo json_encode([
        'before' => $before,
        'host' => $all['Host'] ?? null,
        'i' => $all['X-Some-Header'] ?? null,
        'type' => $all['Content-Type'] ?? null,
        'same' => $all === apache_request_headers() && $all === frankenphp_request_headers(),
        'response' => apache_response_headers()['X-Sent'] ?? null,
    ]);
});
