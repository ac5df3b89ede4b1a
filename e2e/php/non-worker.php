<?php // Outside worker mode the loop says so.
try {
    frankenphp_handle_request(fn () => null);
    echo 'no exception';
} catch (RuntimeException $e) {
    echo get_class($e), ': ', $e->getMessage();
}
