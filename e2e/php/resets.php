<?php // What nobody else puts back between the requests of a worker script.
require_once __DIR__ . '/executor.php';
ini_set('precision', '7');
set_error_handler(fn () => 'boot');
behave(function () {
    clearstatcache();
    $handler = set_error_handler(null);
    restore_error_handler();
    echo json_encode([
        'ini' => ini_get('precision'),
        'other' => ini_get('user_agent'),
        'cwd' => getcwd() === __DIR__ ? 'own' : getcwd(),
        'umask' => umask() === 0o077 ? 'changed' : 'kept',
        'locale' => setlocale(LC_CTYPE, 0) === 'C.UTF-8' && setlocale(LC_TIME, 0) === 'C.UTF-8' ? 'changed' : 'kept',
        'zone' => date_default_timezone_get(),
        'error' => $handler ? $handler() : null,
        'exception' => set_exception_handler(null),
        'last' => error_get_last(),
    ]);
    ini_set('precision', '3');
    ini_set('user_agent', 'changed');
    chdir('/');
    umask(0o077);
    setlocale(LC_ALL, 'C.UTF-8');
    date_default_timezone_set('Asia/Tokyo');
    set_error_handler(fn () => 'request');
    set_exception_handler(fn () => null);
    set_error_handler(null);
    @trigger_error('left behind');
});
