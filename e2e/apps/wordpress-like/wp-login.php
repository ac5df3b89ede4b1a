<?php

require_once __DIR__ . '/wp-load.php';

setcookie('wordpress_test_cookie', 'test', ['path' => '/', 'httponly' => true]);
echo '<!doctype html><title>Log in</title><form method="post"><input name="log"><input name="pwd" type="password"><button>Log in</button></form>';
