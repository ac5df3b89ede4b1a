<?php

header('Content-Type: text/plain');
echo 'cart, ', $_SERVER['SCRIPT_NAME'], "\n";
