<?php // What fpm_get_status() says: names and types in their order, and this process among the others.
require_once __DIR__ . '/executor.php';
behave(function () {
    $status = fpm_get_status();
    $process = $status['procs'][array_search(getmypid(), array_column($status['procs'], 'pid'), true)];
    if (isset($_GET['values'])) {
        echo json_encode([
            $status['pool'],
            $status['total-processes'] === count($status['procs']),
            $status['idle-processes'] + $status['active-processes'] === $status['total-processes'],
            $status['accepted-conn'] > 0,
            $process['state'],
            $process['request-method'],
            $process['request-uri'],
            $process['query-string'],
            $process['user'],
        ]);
        return;
    }
    foreach ([$status, $process] as $values) {
        foreach ($values as $name => $value) {
            echo $name, '=', gettype($value), ' ';
        }
        echo "\n";
    }
});
