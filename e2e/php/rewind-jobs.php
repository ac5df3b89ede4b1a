<?php // Each job keeps whatever it can, and says how many have done so in this process.
$kept = [];
while (frankenphp_handle_request(function (string $message) use (&$kept) {
    $kept[] = str_repeat('x', 1 << 20);
    $GLOBALS['parsed'][] = simplexml_load_string('<list>' . str_repeat('<entry>kept</entry>', 2000) . '</list>');
    $GLOBALS['open'][] = fopen(__FILE__, 'r');

    return count($kept) . ' ' . getmypid();
})) {
}
