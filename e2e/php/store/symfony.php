<?php

// Symfony's own cache, lock and Messenger transport on the store.

use Symfony\Component\Cache\Adapter\RedisAdapter;
use Symfony\Component\Cache\Adapter\RedisTagAwareAdapter;
use Symfony\Component\Lock\LockFactory;
use Symfony\Component\Lock\Store\RedisStore;
use Symfony\Component\Lock\Store\StoreFactory;
use Symfony\Component\Messenger\Bridge\Redis\Transport\RedisTransportFactory;
use Symfony\Component\Messenger\Envelope;
use Symfony\Component\Messenger\Stamp\DelayStamp;
use Symfony\Component\Messenger\Transport\Serialization\PhpSerializer;

foreach (['Cache', 'Lock', 'Messenger', 'Messenger/Bridge/Redis'] as $part) {
    require_once "Symfony/Component/$part/autoload.php";
}

$out = [];
$redis = RedisAdapter::createConnection(getenv('REDIS_URL'));
$out['client'] = get_class($redis);

$cache = new RedisAdapter($redis, 'app');
$out['cache'] = [$cache->get('user', fn () => ['Ada'])[0], $cache->get('user', fn () => ['Eve'])[0]];
$tagged = new RedisTagAwareAdapter($redis, 'tagged');
$item = $tagged->getItem('a')->set(1)->tag('t');
$tagged->save($item);
$out['tags'] = [$tagged->hasItem('a'), $tagged->invalidateTags(['t']), $tagged->hasItem('a')];
$out['pruned'] = $cache->clear();

$locks = new LockFactory(StoreFactory::createStore(getenv('LOCK_DSN')));
$one = $locks->createLock('invoice', 30);
$other = $locks->createLock('invoice', 30);
$out['lock'] = [$one->acquire(), $other->acquire()];
$one->refresh(60);
$one->release();
$out['lock'][] = $other->acquire();
$reading = [$locks->createLock('shared', 30), $locks->createLock('shared', 30)];
$out['shared'] = [$reading[0]->acquireRead(), $reading[1]->acquireRead(), $locks->createLock('shared', 30)->acquire()];

final class Note
{
    public string $text = '';
}

$transport = (new RedisTransportFactory())->createTransport(getenv('MESSENGER_TRANSPORT_DSN'), [], new PhpSerializer());
$note = new Note();
$note->text = 'hello';
$transport->send(new Envelope($note));
$late = new Note();
$late->text = 'late';
$transport->send(new Envelope($late, [new DelayStamp(50)]));
$heard = [];
$until = microtime(true) + 10;
while (count($heard) < 2 && microtime(true) < $until) {
    foreach ($transport->get() as $envelope) {
        $heard[] = $envelope->getMessage()->text;
        $transport->ack($envelope);
    }
}
$out['messages'] = $heard;

$redis->set('here', 'yes');

echo json_encode($out);
