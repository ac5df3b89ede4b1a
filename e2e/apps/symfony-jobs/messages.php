<?php
/*
 * For the tests: `php messages.php setup` makes the table; `php messages.php TRANSPORT 'new Say("x")'` prints what lies in
 * the queue for such a message; `php messages.php waiting` prints what waits, as queue, class and seconds until then.
 */
require __DIR__ . '/vendor/autoload.php';
$kernel = new App\Kernel('test', false);
$kernel->boot();
$database = (new App\Registry())->getConnection();
if ($argv[1] === 'setup') {
    $database->executeStatement('CREATE TABLE messenger_messages (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL,
        headers TEXT NOT NULL, queue_name VARCHAR(190) NOT NULL, created_at DATETIME NOT NULL,
        available_at DATETIME NOT NULL, delivered_at DATETIME DEFAULT NULL)');
    exit;
}
if ($argv[1] === 'waiting') {
    foreach ($database->fetchAllAssociative('SELECT * FROM messenger_messages ORDER BY id') as $row) {
        preg_match('/App\\\\+(\w+)/', substr($row['body'], strrpos($row['body'], 'message')), $found);
        $delay = strtotime($row['available_at'] . ' UTC') - strtotime($row['created_at'] . ' UTC');
        echo "$row[queue_name] ", $found[1] ?? '?', " $delay\n";
    }
    $database->executeStatement('DELETE FROM messenger_messages');
    exit;
}
$serializer = $argv[1] === 'json'
    ? Symfony\Component\Messenger\Transport\Serialization\Serializer::create()
    : new Symfony\Component\Messenger\Transport\Serialization\PhpSerializer();
$message = eval("namespace App; return {$argv[2]};");
echo json_encode($serializer->encode(new Symfony\Component\Messenger\Envelope($message)) + ['headers' => []]);
