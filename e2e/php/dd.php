<?php // What a destructor prints after exit() still belongs to the response, as dump-and-die helpers count on.
require_once __DIR__ . '/executor.php';
final class PrintsLate
{
    public function __destruct()
    {
        echo 'from the destructor';
    }
}
behave(function () {
    $GLOBALS['late'] = new PrintsLate();
    http_response_code(500);
    exit(1);
});
