<?php

header('Content-Type: text/plain; charset=utf-8');
echo "front\n";
foreach (['SCRIPT_NAME', 'PHP_SELF', 'PATH_INFO', 'REQUEST_URI', 'QUERY_STRING', 'DOCUMENT_ROOT', 'SCRIPT_FILENAME'] as $name) {
    echo $name, '=', $_SERVER[$name] ?? '', "\n";
}
