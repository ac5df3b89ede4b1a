<?php

header('Content-Type: text/plain');
echo "a name with a space\n";
