<?php // Draws from every source of numbers, all of which the boot has used before. Each draw is named after its source.
function draw(PDO $db): array
{
    $list = range(1, 60);
    shuffle($list);

    return [
        // PHP seeds these five together, with 32 bits.
        'mt' => mt_rand() . mt_rand(), 'rand' => rand() . rand(), 'shuffle' => implode(',', array_slice($list, 0, 12)),
        'str' => str_shuffle(implode(range('a', 'z'))), 'array' => implode(',', array_rand(range(1, 500), 8)),
        'lcg' => lcg_value() . lcg_value(), 'uniqid' => uniqid('', true),
        'int' => random_int(0, PHP_INT_MAX), 'bytes' => bin2hex(random_bytes(8)), 'session' => session_create_id(),
        'openssl' => bin2hex(openssl_random_pseudo_bytes(8)),
        'sqlite' => $db->query('select random()')->fetchColumn(), 'sqlite-blob' => $db->query('select hex(randomblob(8))')->fetchColumn(),
    ] + (class_exists('Random\Randomizer') ? [
        'randomizer' => bin2hex((new Random\Randomizer())->getBytes(8)),
        'pcg' => (new Random\Randomizer(new Random\Engine\PcgOneseq128XslRr64()))->nextInt(),
        'xoshiro' => (new Random\Randomizer(new Random\Engine\Xoshiro256StarStar()))->nextInt(),
    ] : []) + (function_exists('sodium_crypto_secretbox_keygen') ? ['sodium' => bin2hex(sodium_crypto_secretbox_keygen())] : []);
}
/** These take long, and draw from OpenSSL and random_bytes() as others do. */
function draw_slowly(): array
{
    $key = openssl_pkey_new(['private_key_type' => OPENSSL_KEYTYPE_EC, 'curve_name' => 'prime256v1']);

    return [
        'key' => bin2hex(openssl_pkey_get_details($key)['ec']['x']),
        'password' => password_hash('x', PASSWORD_BCRYPT, ['cost' => 4]),
    ];
}
draw(new PDO('sqlite::memory:')) + draw_slowly();
regie_checkpoint();
foreach (draw(new PDO('sqlite::memory:')) + (isset($_GET['slowly']) ? draw_slowly() : []) as $source => $drawn) {
    echo "$source:$drawn ";
}
