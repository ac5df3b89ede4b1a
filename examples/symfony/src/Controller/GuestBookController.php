<?php

namespace App\Controller;

use App\Message\NoteWritten;
use App\WordCount;
use Symfony\Bundle\FrameworkBundle\Controller\AbstractController;
use Symfony\Component\HttpFoundation\JsonResponse;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\HttpKernel\Exception\AccessDeniedHttpException;
use Symfony\Component\Messenger\MessageBusInterface;

/** A guest book whose notes live in the visitor's session. */
class GuestBookController extends AbstractController
{
    public function home(Request $request): Response
    {
        $session = $request->getSession();
        $session->set('visits', $session->get('visits', 0) + 1);

        return $this->render('home.html.twig', ['visits' => $session->get('visits')]);
    }

    public function notes(Request $request, WordCount $words): Response
    {
        $session = $request->getSession();
        if (!$session->has('token')) {
            $session->set('token', bin2hex(random_bytes(16)));
        }

        return $this->render('notes.html.twig', [
            'notes' => $session->get('notes', []),
            'token' => $session->get('token'),
            'words' => $words->total(),
        ]);
    }

    public function write(Request $request, MessageBusInterface $bus): Response
    {
        $session = $request->getSession();
        if (!hash_equals((string) $session->get('token', ''), (string) $request->request->get('token')) || !$session->has('token')) {
            throw new AccessDeniedHttpException('The form is too old, or not ours.');
        }
        $text = trim((string) $request->request->get('text'));
        if ($text !== '') {
            $session->set('notes', [...$session->get('notes', []), mb_substr($text, 0, 500)]);
            $bus->dispatch(new NoteWritten($text));
            $this->addFlash('message', 'Thank you.');
        }

        return $this->redirectToRoute('notes', [], Response::HTTP_SEE_OTHER);
    }

    /** Who am I? Said once with ?name=, kept in the session, never anybody else's. */
    public function me(Request $request): Response
    {
        $session = $request->getSession();
        if ($request->query->has('name')) {
            $session->set('name', $request->query->get('name'));
        }

        return new JsonResponse(['name' => $session->get('name'), 'pid' => getmypid()]);
    }
}
