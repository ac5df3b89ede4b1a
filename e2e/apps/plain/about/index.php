<?php

header('Content-Type: text/plain');
echo 'about, ', $_SERVER['SCRIPT_NAME'], "\n";
