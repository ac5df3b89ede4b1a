<?php // Speaks with servers and libraries that keep state outside of PHP, and leaves them in the middle of it, in the order that
// ?do= says. ?as= keeps two pools apart at the servers; it is never printed.
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
$warm = [new Collator('de_DE'), new NumberFormatter('fr_FR', NumberFormatter::CURRENCY)];
regie_checkpoint();

$as = $_GET['as'] ?? '';
$redis = function (string $how = 'connect'): Redis {
    $redis = new Redis();
    $redis->$how(getenv('REDIS'));

    return $redis;
};
$mysqli = fn (): mysqli => new mysqli(null, 'root', '', 'test', 0, getenv('MARIADB'));
$pdo = fn (array $options = []): PDO => new PDO('mysql:dbname=test;unix_socket=' . getenv('MARIADB'), 'root', '', $options);
$code = function (callable $run): string {
    try {
        return 'fine ' . json_encode($run());
    } catch (Throwable $thrown) {
        return $thrown::class . ' ' . $thrown->getCode();
    }
};

$ways = [
    'redis' => fn () => [$redis()->incr("$as:n"), $redis()->set("$as:k", 'v', 60), $redis()->get("$as:k")],
    'redis-multi' => function () use ($redis, $as) { $open = $GLOBALS['open'] = $redis(); $open->multi(); $open->set("$as:k", 'never'); return [$redis()->get("$as:k")]; },
    'redis-lasting' => fn () => [$redis('pconnect')->incr("$as:lasting"), count($redis('pconnect')->keys("$as:*")) > 0],
    'redis-session' => function () use ($as) {
        ini_set('session.save_handler', 'redis');
        ini_set('session.save_path', 'unix://' . getenv('REDIS') . "?prefix=$as:");
        ini_set('session.use_cookies', '0');
        session_id('visitor');
        session_start();

        return $_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
    },
    'mysqli' => function () use ($mysqli) {
        $db = $GLOBALS['mysqli'] = $mysqli();
        $db->query('CREATE TEMPORARY TABLE t (a INT)');
        $db->query('INSERT INTO t VALUES (7)');

        return $db->query('SELECT a FROM t')->fetch_all();
    },
    // The second statement fails, and nobody takes the results.
    'mysqli-failed' => fn () => $code(fn () => ($GLOBALS['failed'] = $mysqli())->multi_query('SELECT 1; SELECT * FROM missing; SELECT 2')),
    'mysqli-missing' => fn () => $code(fn () => $mysqli()->query('SELECT * FROM missing')),
    'mysqli-killed' => function () use ($mysqli, $code) { $db = $mysqli(); $code(fn () => $db->query('KILL CONNECTION_ID()')); return $code(fn () => $db->query('SELECT 1')); },
    'pdo-unread' => function () use ($pdo) {
        $db = $GLOBALS['pdo'] = $pdo([PDO::MYSQL_ATTR_USE_BUFFERED_QUERY => false]);
        $rows = $GLOBALS['rows'] = $db->query('SELECT seq FROM seq_1_to_100000');

        return $rows->fetchColumn();
    },
    'pdo-transaction' => function () use ($pdo) {
        $db = $GLOBALS['transaction'] = $pdo();
        $db->beginTransaction();
        $db->exec('INSERT INTO kept VALUES (1)');

        return $pdo()->query('SELECT COUNT(*) FROM kept')->fetchColumn();
    },
    'pdo-lasting' => fn () => $pdo([PDO::ATTR_PERSISTENT => true])->query("SELECT 'lasting'")->fetchColumn(),
    'mail' => fn () => mail('visitor@example.org', 'Hello', "A letter.\n"),
    // A name is looked up in a thread of libcurl's.
    'curl' => function () {
        $curl = curl_init('http://localhost:1/');
        curl_setopt_array($curl, [CURLOPT_RETURNTRANSFER => true, CURLOPT_DNS_CACHE_TIMEOUT => 0]);

        return [curl_exec($curl), curl_errno($curl)];
    },
    'curl-left' => function () {
        $multi = $GLOBALS['multi'] = curl_multi_init();
        curl_multi_add_handle($multi, $GLOBALS['handle'] = curl_init('http://localhost:1/'));
        curl_multi_exec($multi, $running);

        return $running >= 0;
    },
    'intl' => function () use ($warm) {
        $words = ['zebra', 'Äpfel', 'apfel'];
        $warm[0]->setStrength(Collator::PRIMARY);
        $warm[0]->sort($words);
        $date = new IntlDateFormatter('ja_JP', IntlDateFormatter::FULL, IntlDateFormatter::NONE, 'Asia/Tokyo');

        return [$words, $date->format(0), $warm[1]->formatCurrency(1234.5, 'EUR'), Transliterator::create('Any-Latin; Latin-ASCII')->transliterate('日本'), idn_to_ascii('müller.de')];
    },
    'intl-default' => function () { Locale::setDefault('ar_EG'); return (new NumberFormatter('', NumberFormatter::DECIMAL))->format(12); },
    'hot' => function () { for ($i = 0, $sum = 0; $i < 20000; $i++) { $sum = ($sum * 31 + $i) % 65521; } return $sum; },
    'exit' => fn () => exit('left'),
    'throw' => fn () => throw new DomainException('on purpose'),
];
foreach (explode(',', $_GET['do'] ?? '') as $way) {
    echo $way, ': ', json_encode(isset($ways[$way]) ? $ways[$way]() : null), "\n";
}
