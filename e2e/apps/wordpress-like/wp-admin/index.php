<?php

require_once dirname(__DIR__) . '/wp-load.php';

header('Location: ' . site_url('/wp-login.php?redirect_to=' . rawurlencode(site_url('/wp-admin/'))), true, 302);
