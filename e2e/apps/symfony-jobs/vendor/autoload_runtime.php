<?php // What symfony/runtime writes, for this one script.
if (true === (require_once __DIR__ . '/autoload.php')) {
    return;
}
$app = require $_SERVER['SCRIPT_FILENAME'];
exit($app($_SERVER + $_ENV)->run());
