<?php // A session lives over requests, and belongs to its visitor.
require_once __DIR__ . '/executor.php';
behave(function () {
    ini_set('session.save_path', sys_get_temp_dir());
    session_start();
    $_SESSION['count'] = ($_SESSION['count'] ?? 0) + 1;
    echo session_id(), ' ', $_SESSION['count'];
    if (isset($_GET['exit'])) {
        exit;
    }
});
