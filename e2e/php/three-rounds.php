<?php // A worker script that ends its loop by itself, and is begun anew.
for ($round = 1; $round <= 3; $round++) {
    if (!frankenphp_handle_request(function () use ($round) {
        echo "round $round ", $_GET['i'];
    })) {
        break;
    }
}
