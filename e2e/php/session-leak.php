<?php // $_SESSION is not there for a visitor without a session, whatever the one before had.
require_once __DIR__ . '/executor.php';
behave(function () {
    if (isset($_GET['set'])) {
        ini_set('session.save_path', sys_get_temp_dir());
        session_start();
        $_SESSION['secret'] = $_GET['set'];
        if (isset($_GET['exit'])) {
            exit('set');
        }
        echo 'set';
        return;
    }
    echo isset($_SESSION) ? 'leaked ' . json_encode($_SESSION) : 'clean', ' ', session_status() === PHP_SESSION_NONE ? 'none' : 'active', ' ', session_id();
});
