<?php

header('Content-Type: application/json');
echo json_encode(['get' => $_GET, 'post' => $_POST, 'files' => array_map(static fn ($file) => $file['size'], $_FILES), 'raw' => strlen((string) file_get_contents('php://input'))]);
