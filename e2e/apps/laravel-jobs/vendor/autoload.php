<?php // In place of Composer's: the framework comes from Debian's packages.
require_once 'Illuminate/autoload.php';
require_once dirname(__DIR__) . '/app/jobs.php';
require_once dirname(__DIR__) . '/app/kernel.php';
