<?php // Comes to its checkpoint with an open connection.
$connection = stream_socket_client('tcp://' . getenv('PEER'));
regie_checkpoint();
echo 'never';
