<?php // Soils everything that belongs to a visitor, and reports what it sees of another.
require_once __DIR__ . '/executor.php';
ini_set('session.save_path', sys_get_temp_dir());
behave(function () {
    $me = $_GET['user'];
    $seen = [];
    $check = function (string $what, mixed $value) use (&$seen, $me) {
        if ($value !== null && $value !== '' && $value !== $me) {
            $seen[] = $what . '=' . json_encode($value);
        }
    };
    $check('post', $_POST['user'] ?? null);
    $check('cookie', $_COOKIE['user'] ?? null);
    $check('request', $_REQUEST['user'] ?? null);
    $check('auth', $_SERVER['PHP_AUTH_USER'] ?? null);
    $check('header', getallheaders()['X-User'] ?? null);
    $check('session', $_SESSION['user'] ?? null);
    $check('session id', session_id() ?: null);
    $check('agent', ini_get('user_agent'));
    $check('level', ob_get_level() > 1 ? 'open' : null);
    $check('last', error_get_last()['message'] ?? null);
    if (isset($_GET['session'])) {
        session_id('shared' . $me);
        session_start();
        $check('stored', $_SESSION['user'] ?? null);
        $_SESSION['user'] = $me;
    }
    ini_set('user_agent', $me);
    header('X-For: ' . $me);
    @trigger_error($me);
    ob_start();
    echo $seen ? 'leak: ' . implode(', ', $seen) : 'clean ' . $me;
});
