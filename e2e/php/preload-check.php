<?php // What opcache.preload has loaded is there before anything was included.
require_once __DIR__ . '/executor.php';
behave(function () {
    echo class_exists('Preloaded', false) ? Preloaded::WORD : 'missing';
});
