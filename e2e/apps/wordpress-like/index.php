<?php

/* Front controller, in the shape of WordPress. */

define('WP_USE_THEMES', true);

require __DIR__ . '/wp-blog-header.php';
