<?php

/* A plugin: loaded by WordPress, never asked for. */

if (!defined('ABSPATH')) {
    exit;
}
