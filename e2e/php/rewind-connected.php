<?php // Comes to its checkpoint with an open connection; or, as the environment says, with a failure, or with neither.
if (getenv('PEER')) {
    $connection = socket_create(AF_INET, SOCK_STREAM, SOL_TCP);
    socket_connect($connection, ...explode(':', getenv('PEER')));
}
if (getenv('FAILS') && regie_rewinds()) {
    exit(3);
}
regie_checkpoint();
if (isset($_GET['lose'])) {
    proc_nice(1);
}
echo 'served';

/** Whether this is a boot, and not a request. */
function regie_rewinds(): bool
{
    return !isset($_SERVER['REMOTE_ADDR']);
}
